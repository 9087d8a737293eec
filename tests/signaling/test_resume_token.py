"""Resume tokens: whose they are, and what is not one."""

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.resume_token import MIN_SECRET_BYTES, ResumeKey
from support.rooms import NAMES

ALICE, BOB = NAMES[:2]
SECRET = bytes(range(MIN_SECRET_BYTES))
KEY = ResumeKey(SECRET)
TOKEN = KEY.issue(room="r", epoch="e", peer_id=ALICE, attachment=7)


def test_every_server_with_the_secret_knows_a_token() -> None:
    assert ResumeKey(SECRET).verify(TOKEN, room="r", epoch="e", peer_id=ALICE) == 7


def test_a_token_is_of_one_peer_in_one_epoch_of_one_room_under_one_key() -> None:
    assert KEY.verify(TOKEN, room="s", epoch="e", peer_id=ALICE) is None
    assert KEY.verify(TOKEN, room="r", epoch="f", peer_id=ALICE) is None
    assert KEY.verify(TOKEN, room="r", epoch="e", peer_id=BOB) is None
    assert ResumeKey.create().verify(TOKEN, room="r", epoch="e", peer_id=ALICE) is None


@given(st.text())
def test_any_other_text_is_no_token(text: str) -> None:
    assert KEY.verify(text, room="r", epoch="e", peer_id=ALICE) is None


@given(st.integers(0, TOKEN.rindex(".") - 1), st.characters())
def test_a_token_in_which_one_character_is_changed_is_none(at: int, character: str) -> None:
    changed = TOKEN[:at] + character + TOKEN[at + 1 :]
    assert changed == TOKEN or KEY.verify(changed, room="r", epoch="e", peer_id=ALICE) is None


@pytest.mark.parametrize("attachment", [None, "7", 7.0, True, [7]])
def test_a_claim_of_another_kind_is_no_attachment(attachment: object) -> None:
    claims = {"aud": "rtcmesh-resume", "sub": ALICE, "room": "r", "epoch": "e", "attachment": attachment}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    assert KEY.verify(token, room="r", epoch="e", peer_id=ALICE) is None


def test_a_ticket_for_relays_is_no_resume_token() -> None:
    token = jwt.encode({"aud": "rtcmesh-relay", "sub": ALICE, "room": "r"}, SECRET, algorithm="HS256")
    assert KEY.verify(token, room="r", epoch="e", peer_id=ALICE) is None


def test_a_key_is_long_enough_and_shown_to_nobody() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ResumeKey(bytes(31))
    assert repr(KEY) == "<ResumeKey>"
