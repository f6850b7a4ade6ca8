"""Addresses as people write them."""

from contextlib import suppress
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgate.model.address import Address, Mailbox
from mailgate.wire.address import display, parse_address, parse_author_list, parse_mailbox, to_a_label

KOREA = "xn--3e0b707e.kr"


@pytest.mark.parametrize(
    ("text", "local", "domain", "name"),
    [
        ("kim@x.kr", "kim", "x.kr", ""),
        ("Kim.Lee@X.KR", "Kim.Lee", "x.kr", ""),
        ("<kim@x.kr>", "kim", "x.kr", ""),
        ("  kim@localhost ", "kim", "localhost", ""),
        ("김철수 <kim@한국.kr>", "kim", KOREA, "김철수"),
        ("장치 7 <kim@한국。kr>", "kim", KOREA, "장치 7"),
        ('"Kim, Lee" <kim@x.kr>', "kim", "x.kr", "Kim, Lee"),
        ('"say \\"hi\\" \\\\" <kim@x.kr>', "kim", "x.kr", 'say "hi" \\'),
        ("J. Kim (Sales) <kim@x.kr>", "kim", "x.kr", "J. Kim (Sales)"),
        ("kim@x.kr <kim@x.kr>", "kim", "x.kr", "kim@x.kr"),
        ("Kim<kim@x.kr>", "kim", "x.kr", "Kim"),
        ('"a b"@x.kr', "a b", "x.kr", ""),
        ('"a<b@c\\"d"@x.kr', 'a<b@c"d', "x.kr", ""),
        ('Kim <"a<b>c"@x.kr>', "a<b>c", "x.kr", "Kim"),
        ("김철수@faß.de", "김철수", "xn--fa-hia.de", ""),
        ("kim@r3---sn.x.kr", "kim", "r3---sn.x.kr", ""),
        ("kim@XN--3E0B707E.kr", "kim", KOREA, ""),
    ],
)
def test_people_write_mailboxes_in_many_ways(text, local, domain, name):
    assert parse_mailbox(text) == Mailbox(Address(local, domain), name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "name@domain"),
        ("kim", "name@domain"),
        ("kim@", "not a domain name"),
        ("@x.kr", "empty"),
        ('""@x.kr', "empty"),
        ("a@b@c", "not a domain name"),
        ("a b@x.kr", "name@domain"),
        ("a..b@x.kr", "quotes"),
        (".a@x.kr", "quotes"),
        ("a\u3000b@x.kr", "name@domain"),
        ("a@b_c.kr", "not a domain name"),
        ("a@-b.kr", "not a domain name"),
        ("a@b.", "not a domain name"),
        ("a@b.kr\n", "not a domain name"),
        ("a\r\nRCPT@b.kr", "name@domain"),
        ("a@" + "b" * 64 + ".kr", "not a domain name"),
        ("a@" + "b." * 200 + "kr", "longer than 255"),
        ("a" * 65 + "@x.kr", "longer than 64"),
        ("a@[192.0.2.1]", "address literal"),
        ("a@[IPv6:2001:db8::1]", "address literal"),
        ("a@192.0.2.1", "IP address"),
        ("a@☃.net", "not a domain name"),
        ("a@xn--zzzzzz.kr", "not a domain name"),
        ("a@x.kr, b@x.kr", "not a domain name"),
        ("a@x.kr, B <b@x.kr>", "one address"),
        ("team: a@x.kr;", "name@domain"),
        ("team: <a@x.kr>", "one address"),
        ("Kim <a@x.kr", "name@domain"),
        ("Kim <a@x.kr> Lee", "name@domain"),
        ("a@x.kr>", "Name <name@domain>"),
        ('"Kim <a@x.kr>', "Name <name@domain>"),
        ('"Kim" Lee <a@x.kr>', "Name <name@domain>"),
        ("Kim\r\nBcc: x <a@x.kr>", "one address"),
        ("Kim\r\nLee <a@x.kr>", "control character"),
        ("Kim\u2028Lee <a@x.kr>", "control character"),
        ("가" * 321 + " <a@x.kr>", "longer than 320"),
        ("a" * 3000 + "!@<x.kr>", "too long"),
    ],
)
def test_what_is_no_mailbox_is_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_mailbox(text)


def test_what_macos_takes_apart_is_put_together_again():
    apart = normalize("NFD", "김철수")
    assert parse_mailbox(f"{apart} <{apart}@한국.kr>") == Mailbox(Address("김철수", KOREA), "김철수")


@given(st.text(st.sampled_from('ab."\\ @<>,;:가()[]\t'), min_size=1, max_size=30))
@example('"')
def test_whatever_an_address_writes_is_read_again(local):
    try:
        address = Address(local, KOREA)
    except ValueError:
        return
    assert parse_address(str(address)) == address
    assert parse_mailbox(f"이름 <{address}>") == Mailbox(address, "이름")


@given(st.text(max_size=60))
def test_nothing_raises_but_value_error(text):
    for parse in (parse_mailbox, parse_address, parse_author_list, to_a_label):
        with suppress(ValueError):
            parse(text)


@pytest.mark.parametrize(
    ("addr_spec", "shown"),
    [
        (f"kim@{KOREA}", "kim@한국.kr"),
        (f'"a@{KOREA}"@{KOREA}', f'"a@{KOREA}"@한국.kr'),
        ("kim@x.kr", "kim@x.kr"),
        ("kim@xn--zzzzzz.kr", "kim@xn--zzzzzz.kr"),
        ("kim@xn--i-7iq.ws", "kim@xn--i-7iq.ws"),
    ],
)
def test_people_are_shown_unicode_where_it_leads_back(addr_spec, shown):
    assert display(addr_spec) == shown


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("a@x.kr", ["a@x.kr"]),
        ("a@x.kr, Kim <b@한국.kr>", ["a@x.kr", f"b@{KOREA}"]),
        ('"x, <y@z>" <c@x.kr>', ["c@x.kr"]),
        ("a@x.kr (Kim, \\) Lee)", ["a@x.kr"]),
        ("(c) a@x.kr", ["a@x.kr"]),
        ('=?utf-8?b?7J6l?= "B" J. <김@x.kr>', ["김@x.kr"]),
        ("=?utf-8?q?" + "x" * 700 + "?= <a@x.kr>", ["a@x.kr"]),
        ('<"a,b"@x.kr>', ['"a,b"@x.kr']),
    ],
)
def test_authors_are_all_found(value, addresses):
    assert [str(address) for address in parse_author_list(value)] == addresses


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a@x.kr,",
        "a@x.kr,,b@x.kr",
        "team: a@x.kr;",
        "team: <a@x.kr>;",
        "team: <a@x.kr>",
        "a(b)@x.kr",
        "<@r.kr,@s.kr:a@x.kr>",
        "< a@x.kr >",
        "a@x.kr <b@x.kr",
        "a@x.kr (open",
        "a@x.kr (nested (comment))",
        'open" <a@x.kr>',
        "a@x.kr <b@x.kr> c@x.kr",
        "Kim <a@x.kr> <b@x.kr>",
        "a@x.kr," * 20000 + "a@x.kr",
    ],
)
def test_an_author_that_readers_disagree_on_is_refused(value):
    with pytest.raises(ValueError, match=r"\w+ "):
        parse_author_list(value)
