"""Chromium without a window, spoken to in the DevTools protocol: just enough to use a page as a person does."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

COMMAND = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 30.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
# Windows key codes, by which the protocol tells a key that writes nothing.
_CODES = {
    "Tab": 9, "Enter": 13, "Escape": 27, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip


@dataclass
class Tab:
    """One open page. `complaints` are errors and warnings of its console, `requested` all that it asked for by URL."""

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    _number: int = 0
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a protocol method. Raises RuntimeError where the browser refuses it."""
        self._number += 1
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = reply
        message = {"id": self._number, "method": method, "params": parameters}
        await self.socket.send_json(message | ({"sessionId": self.session} if self.session else {}))
        answer = await asyncio.wait_for(reply, PATIENCE)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    async def listen(self) -> None:
        """Take in what the browser says until it is gone."""
        async for message in self.socket:
            said = json.loads(message.data)
            if waiting := self._waiting.pop(said.get("id"), None):
                waiting.set_result(said)
            else:
                self._note(said.get("method", ""), said.get("params", {}))

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([each.get("value") for each in said["args"]]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requested.append(said["request"]["url"])

    async def open(self, path: Path) -> None:
        """Load a file and wait until its rows are listed."""
        await self.send("Page.navigate", url=path.as_uri())
        await self.until("document.documentElement?.dataset.ready && document.readyState === 'complete'")

    async def run(self, expression: str) -> Any:
        """Return the JSON value of a JavaScript expression, awaited where it is a promise."""
        answer = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", expression))
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true. Raises TimeoutError, naming it."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self.run(f"Boolean({expression})"):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"never true: {expression}") from None

    async def press(self, *keys: str) -> None:
        """Press keys in turn: names such as `Enter` and `Shift+Tab`, or single characters."""
        for key in keys:
            shift, _, name = key.rpartition("+") if len(key) > 1 else ("", "", key)
            text = {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
            parts = {"key": name, "modifiers": 8 if shift else 0, "windowsVirtualKeyCode": _CODES.get(name, 0)}
            await self.send("Input.dispatchKeyEvent", type="keyDown", **parts, **({"text": text} if text else {}))
            await self.send("Input.dispatchKeyEvent", type="keyUp", **parts)

    async def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        box = await self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center', "
            "behavior: 'instant'}); const b = e.getBoundingClientRect(); "
            "return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def choose(self, name: str, value: str) -> None:
        """Set the field with this id, as choosing in it or writing into it does."""
        found = json.dumps(f"#{name}")
        await self.run(
            f"(() => {{ const e = document.querySelector({found}); e.value = {json.dumps(value)}; "
            "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, {bubbles: true})); })()"
        )

    async def show(self, *, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Give the page a size and a colour scheme."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen as a PNG, with `whole` the entire page."""
        answer = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


@asynccontextmanager
async def chromium() -> AsyncIterator[Tab]:
    """Start a browser with one empty page, and end it. Raises RuntimeError where it does not come up."""
    assert COMMAND, "there is no Chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await create_subprocess_exec(
            COMMAND, *_FLAGS, f"--user-data-dir={folder}", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            address = await _address(process, Path(folder) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
                tab = Tab(socket)
                listening = asyncio.create_task(tab.listen())
                try:
                    await _attach(tab)
                    yield tab
                    tab.session = ""
                    await tab.send("Browser.close")
                    await asyncio.wait_for(process.wait(), PATIENCE)
                finally:
                    listening.cancel()
                    with suppress(asyncio.CancelledError):
                        await listening
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _address(process: Process, told: Path) -> str:
    async with asyncio.timeout(PATIENCE):
        while not (told.exists() and len(lines := told.read_text().split()) == 2):
            if process.returncode is not None:
                raise RuntimeError(f"Chromium ended with {process.returncode}")
            await asyncio.sleep(0.02)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


async def _attach(tab: Tab) -> None:
    target = await tab.send("Target.createTarget", url="about:blank")
    attached = await tab.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    tab.session = attached["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        await tab.send(f"{domain}.enable")
    await tab.show()
