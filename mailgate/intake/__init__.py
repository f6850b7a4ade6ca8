"""The funnel: every door hands its submissions over here, and nothing else reaches the queue."""

from mailgate.intake.funnel import Intake
from mailgate.intake.values import Admission, Handover, Limits, Origin, Standing

__all__ = ["Admission", "Handover", "Intake", "Limits", "Origin", "Standing"]
