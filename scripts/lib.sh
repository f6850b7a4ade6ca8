# shellcheck shell=sh
# Sourced by the scripts beside it: a virtual environment in the clone, made and kept up to date.
# POSIX sh. Expects $root, the clone's absolute path.

venv=${root:?}/.venv

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

runs() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Sets $python to a Python 3.11 or later that can make virtual environments.
find_python() {
    lacking=
    for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
        runs "$python" || continue
        "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 && return
        lacking=${lacking:-$python}
    done
    if [ -z "$lacking" ]; then
        fail "mailgate needs Python 3.11 or later: install it (on Debian and Ubuntu: apt install python3 python3-venv)."
    fi
    version=$("$lacking" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    fail "$lacking has no venv module: install it (on Debian and Ubuntu: apt install $version-venv)."
}

# What an environment depends on to work at all: where it is, and which Python it was made of.
venv_identity() {
    printf '%s %s\n' "$venv" "$("$python" -c 'import sys; print(sys.version, sys.base_prefix)' | tr '\n' ' ')"
}

# What is installed into it.
sources_identity() {
    (cd "$root" && find mailgate twisted setup.cfg pyproject.toml -type f ! -name '*.pyc' ! -name dropin.cache \
        -exec cksum {} + | sort) | cksum
}

make_venv() {
    identity=$(venv_identity)
    if runs "$venv/bin/python" && [ "$identity" = "$(cat "$venv/made-of" 2>/dev/null)" ]; then
        return
    fi
    say "Making a virtual environment in $venv with $("$python" --version) …"
    "$python" -m venv --clear "$venv" || fail "The virtual environment could not be made: the lines above say why."
    printf '%s\n' "$identity" >"$venv/made-of"
}

# Runs pip and shows the name of each package as it comes; all that pip says is kept in $venv/install.log.
run_pip() {
    {
        "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --root-user-action=ignore "$@" 2>&1
        printf 'status %s\n' "$?"
    } | {
        status=1
        while IFS= read -r line; do
            printf '%s\n' "$line" >&3
            case $line in
            'Collecting '*)
                name=${line#Collecting }
                printf ' %s' "${name%%[!A-Za-z0-9._-]*}" >&2
                ;;
            'Installing collected packages'*) printf '\nInstalling …' >&2 ;;
            'status '*) status=${line#status } ;;
            esac
        done 3>"$venv/install.log"
        printf '\n' >&2
        return "$status"
    }
}

# install EXTRA: brings the environment up to date with the clone; EXTRA is empty or "test".
install() {
    sources=$(sources_identity)
    [ "$sources" = "$(cat "$venv/installed$1" 2>/dev/null)" ] && return
    rm -f "$venv/installed" "$venv/installed$1"
    printf 'Getting mailgate and what it needs (a minute the first time):' >&2
    # The version number stays while the sources change: without the first removal pip would keep the old ones,
    # and without the second setuptools would add files that are no longer there.
    "$venv/bin/python" -m pip --disable-pip-version-check uninstall --yes --quiet mailgate >/dev/null 2>&1
    rm -rf "$root/build/lib"
    if ! run_pip "$root${1:+[$1]}"; then
        tail -n 20 "$venv/install.log" >&2
        fail "The installation failed: the lines above are pip's, all of them are in $venv/install.log."
    fi
    printf '%s\n' "$sources" >"$venv/installed"
    printf '%s\n' "$sources" >"$venv/installed$1"
}

prepare() {
    find_python
    make_venv
    install "$1"
}
