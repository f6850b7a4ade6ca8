"""The only way to a route: through the judgement of who asks."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec
from urllib.parse import unquote

from klein import Klein
from twisted.internet.defer import Deferred
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map

from mailgate.doors.answers import Answer, refused
from mailgate.doors.request import GatewayRequest, Result
from mailgate.model.identity import ClientIdentity
from mailgate.model.refusal import Refusal, RefusalCode

P = ParamSpec("P")
Handler = Callable[Concatenate[GatewayRequest, ClientIdentity, P], Result | Deferred[Result]]

_NOT_FOUND = Refusal(RefusalCode.NOT_FOUND, "there is nothing at this path")


class AuthorisedRoutes:
    """
    Klein's routes, of which each handler is given the client that asks.

    There is no way to register a handler without that, and none to reach one as nobody.
    """

    def __init__(self) -> None:
        self._app = Klein()
        self._app.url_map.merge_slashes = False
        # The rules name no hosts, so one binding serves every request.
        self._adapter = self._app.url_map.bind("mailgate", url_scheme="https")

    @property
    def rules(self) -> Map:
        """The rules that were registered, for whoever wants to go through them."""
        return self._app.url_map

    def route(self, path: str, method: str) -> Callable[[Handler[P]], Handler[P]]:
        """Return the decorator that reaches a handler by a path of Werkzeug's syntax and one method."""

        def register(handler: Handler[P]) -> Handler[P]:
            def authorised(
                request: GatewayRequest, *args: P.args, **values: P.kwargs
            ) -> Result | Deferred[Result]:
                identity = request.identify()
                if isinstance(identity, Refusal):
                    return identity
                return handler(request, identity, *args, **values)

            # Klein's own decorator is typed for what its renderer takes; results here are rendered by the request.
            options: dict[str, Any] = {"methods": [method], "endpoint": f"{method} {path}"}
            self._app.route(path, **options)(authorised)  # type: ignore[type-var]
            return handler

        return register

    def dispatch(self, request: GatewayRequest) -> Result | Deferred[Result]:
        """Return the answer of the route that the request names, or the refusal that there is none."""
        if request.method == b"OPTIONS" and request.path == b"*":
            return _options(("GET", "HEAD", "OPTIONS", "POST"))
        path = request.path.decode("latin-1")
        try:
            endpoint, values = self._adapter.match(unquote(path) if "%" in path else path, request.method.decode())
        except MethodNotAllowed as error:
            return self._not_this_method(request, tuple(sorted({*(error.valid_methods or ()), "OPTIONS"})))
        except HTTPException:
            return _NOT_FOUND
        result: Result | Deferred[Result] = self._app.execute_endpoint(endpoint, request, **values)  # type: ignore[arg-type, assignment]
        return result

    def _not_this_method(self, request: GatewayRequest, allow: tuple[str, ...]) -> Result:
        if request.method == b"OPTIONS":
            return _options(allow)
        refusal = Refusal(RefusalCode.METHOD_NOT_ALLOWED, f"this path takes {', '.join(allow)}")
        request.tell_refusal(refusal)
        return refused(refusal, request.request_id, allow)


def _options(allow: tuple[str, ...]) -> Answer:
    return Answer(204, headers=((b"Allow", ", ".join(allow).encode()),))
