"""The kinds of parameter that techniques share, checked where a step sets them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1, le=1000)]
"""How many: samples, steps, questions."""

Temperature = Annotated[float, Field(ge=0, le=2)]
"""A temperature that may be 0, where a single call may be greedy."""

Warmth = Annotated[float, Field(gt=0, le=2)]
"""A temperature at which samples differ."""

Tokens = Annotated[int, Field(ge=1)]
"""How long a reply may be; never without an end."""
