"""Make ``twistd mailgate`` known to Twisted's plugin system."""

from twisted.application.service import ServiceMaker

mailgate = ServiceMaker(
    "mailgate",
    "mailgate.tap",
    "Take mail from outside over mutual TLS and deliver it to an internal SMTP server.",
    "mailgate",
)
