"""Headless Chromium for tests of pages, driven by its debugging protocol through a pipe: no further package is needed.

A page's console errors, its exceptions and what it asks the network for are collected while it is open.
https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    def __init__(self, width=1400, height=900):
        self._profile = tempfile.TemporaryDirectory()
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        options = "--headless --disable-gpu --no-sandbox --no-first-run --disable-dev-shm-usage --remote-debugging-pipe"
        command = [
            CHROMIUM,
            *options.split(),
            "--disable-background-networking",
            f"--user-data-dir={self._profile.name}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            # The protocol's descriptors are 3, which the browser reads, and 4, which it writes.
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", *command],
            pass_fds=[to_browser, from_browser],
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},  # a sanitizer's
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self._session = b"", 0, None
        self.errors, self.requests = [], []
        (page,) = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self._session = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Performance.enable", timeDomain="threadTicks")
        self.resize(width, height)

    def resize(self, width, height=900):
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme):
        """Ask pages for "dark" or "light"."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, file):
        """Open a file or an address: seconds until the page is loaded, its script has run and it has been drawn."""
        self.errors.clear()
        self.requests.clear()
        start = time.perf_counter()
        self._call("Page.navigate", url=file if "://" in str(file) else Path(file).absolute().as_uri())
        self._wait(lambda event: event["method"] == "Page.loadEventFired")
        self.run("new Promise(drawn => requestAnimationFrame(() => setTimeout(drawn)))")
        return time.perf_counter() - start

    def run(self, script):
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def until(self, script, seconds=90):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"{script} is not true: {self.run('document.body.innerText')}"
            time.sleep(0.1)

    def busy(self):
        """Seconds of processor time that the page has taken since it was opened, to read, lay out, draw and run it."""
        return {m["name"]: m["value"] for m in self._call("Performance.getMetrics")["metrics"]}["TaskDuration"]

    def hover(self, x, y):
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        for _ in range(20):  # its helpers still write for a moment
            try:
                self._profile.cleanup()
                break
            except OSError:
                time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda said: said.get("id") == message["id"])
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _wait(self, wanted, seconds=60):
        end = time.monotonic() + seconds
        while True:
            while b"\0" in self._buffer:
                text, _, self._buffer = self._buffer.partition(b"\0")
                said = json.loads(text)
                self._note(said)
                if ("method" in said or "id" in said) and wanted({"method": "", **said}):
                    return said
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser did not answer")
            read = os.read(self._from, 1 << 20)
            if not read:
                raise RuntimeError("the browser ended")
            self._buffer += read

    def _note(self, said):
        params = said.get("params", {})
        if said.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif said.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"])
        elif said.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(params["args"])
        elif said.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
