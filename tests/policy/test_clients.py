"""Who a certificate is: default deny, never a guess."""

import pytest

from mailgate.model.address import Address
from mailgate.model.identity import ChainLink, ClientIdentity
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.policy.clients import ClientDirectory
from mailgate.policy.rules import AddressPattern, ClientRules

ANYONE = (AddressPattern(None, None),)


def rules(label, *certificates, **changes):
    return ClientRules(label=label, certificates=certificates, senders=ANYONE, **changes)


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("CN:카메라", {"common_name": "카메라"}),
        ("DNS:cam.x.kr", {"common_name": None, "dns": ("a.x.kr", "cam.x.kr")}),
        ("URI:spiffe://x.kr/cam", {"common_name": None, "uris": ("spiffe://x.kr/cam",)}),
        ("SHA256:" + "ab" * 32, {}),
        ("SPKI:" + "cd" * 32, {}),
    ],
)
def test_any_name_that_an_entry_lists_proves_that_client(certificate, named, shown):
    directory = ClientDirectory([rules("other", "CN:other"), rules("cam", "CN:nobody", named)])
    peer = certificate(**shown)
    assert directory.identify(peer, "https") == ClientIdentity("cam", "cam", peer)


def test_a_certificate_that_no_entry_names_is_unknown(certificate):
    refusal = ClientDirectory([rules("cam", "CN:cam")]).identify(certificate("stranger"), "https")
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.CLIENT_UNKNOWN


def test_a_common_name_is_not_taken_for_a_dns_name(certificate):
    refusal = ClientDirectory([rules("cam", "DNS:cam.x.kr")]).identify(certificate("cam.x.kr"), "https")
    assert refusal.code is RefusalCode.CLIENT_UNKNOWN


def test_a_certificate_that_two_entries_name_is_refused_rather_than_guessed(certificate):
    directory = ClientDirectory([rules("a", "CN:cam"), rules("b", "DNS:cam.x.kr")])
    refusal = directory.identify(certificate("cam", dns=("cam.x.kr",)), "https")
    assert refusal.code is RefusalCode.CLIENT_UNKNOWN
    assert refusal.detail == "the certificate matches more than one client"
    assert directory.claims(certificate("cam", dns=("cam.x.kr",))) == {"a", "b"}


def test_two_entries_can_not_claim_the_same_certificate():
    with pytest.raises(ValueError, match='"a" and "b" both claim the certificate CN:cam'):
        ClientDirectory([rules("a", "CN:cam"), rules("b", "CN:cam")])


def link(key):
    return ChainLink("1", key)


def test_an_entry_that_is_bound_to_a_ca_is_no_certificate_of_another(certificate):
    directory = ClientDirectory([rules("cam", "CN:cam", authorities=frozenset({"a"})), rules("*")])
    mine, other = (
        certificate("cam", issuers=(link("between"), link("a"))),
        certificate("cam", issuers=(link("b"),)),
    )
    assert directory.identify(mine, "https").client == "cam"
    refusal = directory.identify(other, "https")
    assert refusal.code is RefusalCode.CLIENT_UNKNOWN
    assert refusal.detail == "the certificate names a client that is bound to another CA"


def test_two_entries_may_claim_a_name_of_different_cas(certificate):
    bound = (frozenset({"a", "a2"}), frozenset({"b"}))
    directory = ClientDirectory(
        [rules(f"cam-{number}", "CN:cam", authorities=keys) for number, keys in enumerate(bound)]
    )
    for key, client in (("a", "cam-0"), ("a2", "cam-0"), ("b", "cam-1")):
        assert directory.identify(certificate("cam", issuers=(link(key),)), "https").client == client
    assert isinstance(directory.identify(certificate("cam", issuers=(link("c"),)), "https"), Refusal)


@pytest.mark.parametrize("authorities", [None, frozenset({"b", "a"})])
def test_but_not_where_no_ca_tells_them_apart(authorities):
    with pytest.raises(ValueError, match="both claim the certificate CN:cam"):
        ClientDirectory(
            [
                rules("a", "CN:cam", authorities=frozenset({"a"})),
                rules("b", "CN:cam", authorities=authorities),
            ]
        )


def test_everyone_of_one_ca(certificate):
    directory = ClientDirectory([rules("*", authorities=frozenset({"a"}))])
    assert directory.identify(certificate("cam", issuers=(link("a"),)), "https").client == "cam"
    assert isinstance(directory.identify(certificate("cam", issuers=(link("b"),)), "https"), Refusal)


def test_a_spiffe_identity_is_the_only_uri_of_its_certificate(certificate):
    uri = "spiffe://x.kr/cam"
    directory = ClientDirectory([rules("cam", f"URI:{uri}"), rules("tag", "URI:urn:tag")])
    assert directory.identify(certificate(uris=(uri,)), "https").client == "cam"
    shouted = ClientDirectory([rules("cam", "URI:SPIFFE://x.kr/cam")])
    assert isinstance(shouted.identify(certificate(uris=("SPIFFE://x.kr/cam", uri)), "https"), Refusal)
    for uris in ((uri, "spiffe://x.kr/other"), (uri, "https://x.kr/")):
        assert isinstance(directory.identify(certificate(uris=uris), "https"), Refusal)
    assert directory.identify(certificate(uris=(uri, "urn:tag")), "https").client == "tag"


def test_two_certificates_of_one_client_are_that_client(certificate):
    directory = ClientDirectory([rules("cam", "CN:cam")])
    old, new = certificate("cam", serial="1"), certificate("cam", serial="2", fingerprint="ef" * 32)
    assert {directory.identify(each, "https").client for each in (old, new)} == {"cam"}


def test_a_disabled_client_is_told_so(certificate):
    directory = ClientDirectory([rules("cam", "CN:cam", enabled=False)])
    assert directory.identify(certificate("cam"), "https").code is RefusalCode.CLIENT_DISABLED


def test_a_client_comes_in_by_its_own_doors_only(certificate):
    directory = ClientDirectory([rules("cam", "CN:cam", doors=frozenset({"lines"}))])
    assert directory.identify(certificate("cam"), "https").code is RefusalCode.DOOR_NOT_ALLOWED
    assert directory.identify(certificate("cam"), "lines").client == "cam"


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ({"common_name": "cam7"}, "cam7"),
        ({"common_name": None, "dns": ("cam7.x.kr",)}, "cam7.x.kr"),
        ({"common_name": None, "uris": ("spiffe://x.kr/7",)}, "spiffe://x.kr/7"),
    ],
)
def test_under_the_wildcard_each_certificate_is_a_client_of_its_own(certificate, shown, name):
    identity = ClientDirectory([rules("*")]).identify(certificate(**shown), "https")
    assert (identity.client, identity.label) == (name, "*")


def test_under_the_wildcard_a_certificate_without_a_name_is_unknown(certificate):
    refusal = ClientDirectory([rules("*")]).identify(certificate(None), "https")
    assert refusal.code is RefusalCode.CLIENT_UNKNOWN


def test_the_wildcard_does_not_let_a_certificate_borrow_the_name_of_an_entry(certificate):
    directory = ClientDirectory([rules("*"), rules("cam", "SPKI:" + "00" * 32)])
    assert directory.identify(certificate("cam"), "https").code is RefusalCode.CLIENT_UNKNOWN


def test_an_entry_goes_before_the_wildcard(certificate):
    directory = ClientDirectory([rules("*"), rules("cam", "CN:cam")])
    assert directory.identify(certificate("cam"), "https").label == "cam"


def test_the_rules_of_an_entry_are_found_by_its_label():
    entry = rules("cam", "CN:cam")
    directory = ClientDirectory([entry])
    assert directory.rules("cam") is entry
    assert directory.rules("gone") is None


def test_who_is_told_of_what_ends_undelivered_stands_in_the_clients_entry_or_the_wildcards():
    ops, others = Address("ops", "x.kr"), Address("others", "x.kr")
    directory = ClientDirectory([rules("cam", bounces=ops), rules("silent"), rules("*", bounces=others)])
    assert directory.bounces("cam") == ops
    assert directory.bounces("silent") is None
    assert directory.bounces("any certificate's name") == others
    assert ClientDirectory([rules("cam", bounces=ops)]).bounces("gone by now") is None
