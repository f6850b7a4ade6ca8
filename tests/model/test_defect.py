"""A defect in the log: where it is, and nothing of what was sent."""

from mailgate.model.defect import describe_defect


def test_it_names_type_and_place_and_keeps_the_text_to_itself():
    try:
        int("비밀번호")
    except ValueError as error:
        described = describe_defect(error)
        trace = error.__traceback__
    assert described.startswith("ValueError at tests/model/test_defect.py:")
    assert described.endswith("in test_it_names_type_and_place_and_keeps_the_text_to_itself")
    assert "비밀번호" not in described
    assert describe_defect(KeyError("비밀번호"), trace).startswith("KeyError at tests/model/test_defect.py:")


def test_an_error_that_was_never_raised_has_no_place():
    assert describe_defect(KeyError("비밀번호")) == "KeyError"
