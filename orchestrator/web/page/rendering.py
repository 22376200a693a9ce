"""Templates to HTML. What comes from elsewhere is made visible before it is escaped: no mark turns the text around."""

import json
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.escape import escape
from orchestrator.model import Role
from orchestrator.web.callers import Caller
from orchestrator.web.page import figures
from orchestrator.web.page.assets import address

#: Nothing from elsewhere, nothing inline, no frame around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
#: Characters of one text: an error may be long, a page may not.
_LONGEST = 2000


def rendered(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The answer that shows `values` in that template."""
    caller: Caller = request.state.caller
    may_act = caller.role is not None and caller.role.may(Role.OPERATOR)
    known = {"now": datetime.now(UTC), "here": request.url.path, "caller": caller, "may_act": may_act}
    page = _templates.get_template(template).render(**known, **values)
    return HTMLResponse(page, status, {"Content-Security-Policy": POLICY})


def _value(value: object) -> str:
    """A figure of a step: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _visible(value: object) -> object:
    return escape(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


_templates = Environment(
    loader=PackageLoader("orchestrator.web.page"),
    autoescape=True,
    finalize=_visible,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "ms": figures.duration,
    "at": figures.at,
    "iso": figures.iso,
    "ago": figures.ago,
    "value": _value,
}
_templates.globals |= {"address": address}
