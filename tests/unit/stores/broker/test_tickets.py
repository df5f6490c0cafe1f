"""The 28 bytes of a ticket."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from taskmill.stores.broker.tickets import Ticket

tickets = st.builds(Ticket, id=st.uuids(), claim_no=st.integers(0, 2**31 - 1), at_ms=st.integers(0, 2**63 - 1))


@given(tickets)
def test_a_ticket_survives_its_28_bytes(ticket: Ticket) -> None:
    raw = ticket.pack()
    assert len(raw) == 28
    assert Ticket.unpack(raw) == ticket


def test_the_layout_is_pinned() -> None:
    raw = Ticket(UUID(int=1), 2, 3).pack()
    assert raw == UUID(int=1).bytes + (2).to_bytes(4, "big") + (3).to_bytes(8, "big")
