"""Types of parameters that techniques share. A value is checked where a step sets it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1, le=1000)]
"""A number of samples, steps or questions."""

Temperature = Annotated[float, Field(ge=0, le=2)]
"""A temperature that may be 0, for calls that may be greedy."""

Warmth = Annotated[float, Field(gt=0, le=2)]
"""A temperature at which samples differ."""

Tokens = Annotated[int, Field(ge=1)]
"""The length of a reply in tokens; never unlimited."""

ModelReference = Annotated[str, "model"]
"""A model that a technique asks by `model=`, as a pipeline names it."""
