"""The HTTPS door: its routes, and the door as the service tree starts and stops it."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailgate.doors.answers import Answer, refused
from mailgate.doors.authorise import AuthorisedRoutes
from mailgate.doors.desk import DOOR, Desk
from mailgate.doors.est import EnrolmentRoutes
from mailgate.doors.reading import decode_submission, refuse_query
from mailgate.doors.request import GatewayRequest, Result
from mailgate.doors.settings import LimitSettings
from mailgate.doors.site import Site
from mailgate.doors.waiting import Patience
from mailgate.intake import Intake, Origin, Standing
from mailgate.model.identity import ClientIdentity
from mailgate.model.journal import Journal
from mailgate.model.receipt import DryRun, MessageRecord, Receipt
from mailgate.model.refusal import Refusal
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.factory import MutualTLSFactory
from mailgate.trust.server import ServerTrust
from mailgate.wire.json.answers import render_dry_run, render_receipt, render_record, render_whoami
from mailgate.wire.request_headers import parse_prefer_wait

STOP_SECONDS = 10.0
"""How long requests under way may take once the door is closing."""


class HttpsDoor:
    """
    The door, ready to listen with `factory`.

    Attributes:
        factory: mutual TLS around the routes, for any stream endpoint.
        routes: every way in.
        desk: what is known of all connections together.

    """

    def __init__(
        self, factory: MutualTLSFactory, routes: AuthorisedRoutes, desk: Desk, site: Site, patience: Patience
    ) -> None:
        self.factory = factory
        self.routes = routes
        self.desk = desk
        self._site = site
        self._patience = patience

    def stop(self) -> Deferred[None]:
        """
        Answer what is under way and close every connection, within ten seconds.

        Whoever listens with the factory stops that first. Requests that still come in are refused as `draining`.
        """
        drained = self._site.drain(STOP_SECONDS)
        self._patience.end()
        return drained

    def reload(self, limits: LimitSettings) -> None:
        """Hold to other limits from now on, and judge every client that is connected anew."""
        self.desk.hold_to(limits)
        self._site.recheck()


def make_https_door(
    intake: Intake,
    trust: ServerTrust,
    limits: LimitSettings,
    connections: ConnectionLimits,
    clock: IReactorTime,
    journal: Journal,
    enrolment: EnrolmentRoutes | None = None,
) -> HttpsDoor:
    """Return the door; nothing listens yet. `connections` may be other doors' too."""
    desk = Desk(intake, trust, limits, journal, clock)
    patience = Patience()
    routes = MessageRoutes(intake, desk, patience).routes
    if enrolment is not None:
        enrolment.register(routes)
    site = Site(desk, routes.dispatch)
    factory = MutualTLSFactory(
        trust,
        site,
        door=DOOR,
        alpn=[b"http/1.1"],
        limits=connections,
        clock=clock,
    )
    return HttpsDoor(factory, routes, desk, site, patience)


class MessageRoutes:
    """Version 1 of the contract."""

    def __init__(self, intake: Intake, desk: Desk, patience: Patience) -> None:
        self._intake = intake
        self._desk = desk
        self._patience = patience
        self.routes = AuthorisedRoutes()
        self.routes.route("/v1/messages", "POST")(self._submit)
        self.routes.route("/v1/messages/<identifier>", "GET")(self._find)
        self.routes.route("/v1/whoami", "GET")(self._whoami)

    def _submit(self, request: GatewayRequest, identity: ClientIdentity) -> Result | Deferred[Result]:
        submission = decode_submission(request, self._desk.limits.recipients, self._intake.wall())
        if isinstance(submission, Refusal):
            return submission
        wait = parse_prefer_wait(request.header(b"Prefer"))
        origin = Origin(DOOR, "HTTPS", request.address, request.request_id)

        def answer(outcome: Receipt | DryRun | Refusal) -> Result | Deferred[Result]:
            if isinstance(outcome, Refusal):
                return refused(outcome, request.request_id)  # intake has told the journal
            if isinstance(outcome, DryRun):
                return Answer(200, render_dry_run(outcome))
            return _accepted(outcome) if wait is None else self._await_decision(identity, outcome, wait)

        return self._intake.submit(identity, submission, origin).addCallback(answer)

    def _await_decision(self, identity: ClientIdentity, receipt: Receipt, wait: float) -> Deferred[Result]:
        accepted = _accepted(receipt)

        def answer(record: MessageRecord | Refusal) -> Answer:
            # The message is durable whatever the look-up says: a refusal of that is no other answer.
            if isinstance(record, Refusal) or not (record.attempts or record.status.final):
                return accepted
            headers = (*accepted.headers, (b"Preference-Applied", b"wait=%d" % wait))
            return Answer(200, render_record(record, self._intake.wall()), headers=headers)

        decision = self._intake.wait(identity, receipt.id, wait)
        return self._patience.wait(decision.addCallback(answer), accepted)

    def _find(
        self, request: GatewayRequest, identity: ClientIdentity, identifier: str
    ) -> Result | Deferred[Result]:
        def answer(found: MessageRecord | Refusal) -> Result:
            return found if isinstance(found, Refusal) else Answer(200, render_record(found, self._intake.wall()))

        return refuse_query(request) or self._intake.find(identity, identifier).addCallback(answer)

    def _whoami(self, request: GatewayRequest, identity: ClientIdentity) -> Result | Deferred[Result]:
        def answer(standing: Standing | Refusal) -> Result:
            if isinstance(standing, Refusal):
                return standing
            return Answer(
                200,
                render_whoami(
                    identity,
                    door=DOOR,
                    rules=standing.rules,
                    rate=standing.rate,
                    quota=standing.quota,
                    now=self._intake.wall(),
                ),
            )

        return refuse_query(request) or self._intake.describe(identity).addCallback(answer)


def _accepted(receipt: Receipt) -> Answer:
    headers = [(b"Location", b"/v1/messages/" + receipt.id.encode())]
    if receipt.replayed:
        headers.append((b"Idempotent-Replayed", b"true"))
    return Answer(202, render_receipt(receipt), headers=tuple(headers))
