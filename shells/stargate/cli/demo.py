"""`stargate demo`: the gateway and a simulated Bedrock, side by side, with no AWS account.

Both are the real commands (`stargate simulate`, `stargate serve`) in processes of their own, in this
process's group, so that Ctrl-C ends all three. What is shown can be pasted as it stands.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import IO, Final

import click

from stargate.cli.examples import examples

_CONFIGURATION: Final = """\
gateway:
  listen: ["{listen}"]
  admin_listen: "{admin}"
  drain_seconds: 2
consumers:
  - username: demo
    keyauth_credentials: [{{key: {key}}}]
    sigv4_credentials: [{{access_key_id: AKIDDEMO, secret_access_key: {key}}}]
plugins:
  - name: api-key-auth
  - name: bedrock-proxy
    config:
      region: us-east-1
      model: claude
      endpoint_url: {simulator}
      credentials: {{access_key_id: AKIDSIMULATOR, secret_access_key: simulated-secret-access-key}}
      models:
        claude: us.anthropic.claude-sonnet-4-20250514-v1:0
        claude-fast: us.anthropic.claude-3-5-haiku-20241022-v1:0
        nova: amazon.nova-lite-v1:0
  - name: request-logger
    config: {{path: {log}}}
"""

_WELCOME: Final = """
  Stargate runs at   {gateway}   (key {key})
  Page and metrics   {page}
  Simulated Bedrock  {simulator}
  Configuration      {configuration}
  Request log        {log}

  Ask it something, as a stream:

    curl -N {gateway}/v1/chat/completions \\
      -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
      -d '{{"model": "claude", "stream": true,
           "messages": [{{"role": "user", "content": "What is a stargate?"}}]}}'

  Or from Python (pip install openai):

    import openai
    client = openai.OpenAI(base_url="{gateway}/v1", api_key="{key}")
    stream = client.chat.completions.create(
        model="claude", messages=[{{"role": "user", "content": "What is a stargate?"}}], stream=True)
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)

  Or as Bedrock itself (pip install boto3):

    import boto3
    bedrock = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url="{gateway}",
                           aws_access_key_id="AKIDDEMO", aws_secret_access_key="{key}")
    print(bedrock.converse(modelId="claude", messages=[{{"role": "user", "content": [{{"text": "Hi"}}]}}]))

  Ctrl-C ends it.
"""

_STOP_SECONDS: Final = 10


@click.command(
    epilog=examples(
        "stargate demo",
        "stargate demo --listen 127.0.0.1:9090 --pace 5",
    )
)
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the gateway listens.",
)
@click.option(
    "--admin",
    default="127.0.0.1:8001",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the status page and the metrics are.",
)
@click.option(
    "--pace",
    default=25.0,
    show_default=True,
    metavar="EVENTS_PER_SECOND",
    help="How fast the simulated models talk.",
)
def demo(listen: str, admin: str, pace: float) -> None:
    """Run the gateway with a simulated Bedrock; no AWS account needed."""
    # Wherever an interrupt strikes, it is the way to end this.
    with contextlib.suppress(KeyboardInterrupt), _ended_by_sigterm():
        _run(listen, admin, pace)


def _run(listen: str, admin: str, pace: float) -> None:
    key = f"sk-demo-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stargate-demo-")))
        log, configuration = folder / "requests.jsonl", folder / "stargate.yaml"
        simulator = stack.enter_context(_simulator(pace))
        configuration.write_text(
            _CONFIGURATION.format(listen=listen, admin=admin, key=key, simulator=simulator, log=log)
        )
        gateway = stack.enter_context(_gateway(configuration))
        click.echo(
            _WELCOME.format(
                gateway=gateway.url,
                page=gateway.page,
                key=key,
                simulator=simulator,
                configuration=configuration,
                log=log,
            )
        )
        gateway.process.wait()
        click.echo(f"The gateway ended by itself with status {gateway.process.returncode}.", err=True)
        sys.exit(1)


class _Running:
    """A process, and where it listens."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, page: str) -> None:
        self.process = process
        self.url = url
        self.page = page


@contextlib.contextmanager
def _simulator(pace: float) -> Generator[str]:
    ours, theirs = os.pipe()
    command = ["simulate", "--listen", "127.0.0.1:0", "--pace", str(pace), "--ready-fd", str(theirs)]
    process = _start(command, pass_fds=(theirs,), stdout=subprocess.DEVNULL)
    os.close(theirs)
    try:
        with os.fdopen(ours) as ready:
            url = ready.readline().strip()
        if not url:
            raise click.ClickException("the simulator did not start")
        yield url
    finally:
        _stop(process)


@contextlib.contextmanager
def _gateway(configuration: Path) -> Generator[_Running]:
    process = _start(["serve", "-c", str(configuration)], stderr=subprocess.PIPE)
    assert process.stderr is not None
    found = {"listening on ": "", "admin listens on ": ""}
    try:
        for line in process.stderr:
            if line.startswith("stargate: ready"):
                break
            what = next((what for what in found if what in line), None)
            if what is not None:
                found[what] = found[what] or line.partition(what)[2].split()[0]
            elif "attention" in line or not line.startswith("stargate: "):
                click.echo(line.rstrip(), err=True)
        else:
            raise click.ClickException("the gateway did not start")
        threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True).start()
        yield _Running(process, *found.values())
    finally:
        _stop(process)


def _pass_on(lines: IO[str]) -> None:
    """What the gateway has to tell goes to our own standard error."""
    for line in lines:
        click.echo(line.rstrip(), err=True)


def _start(
    arguments: list[str],
    *,
    pass_fds: tuple[int, ...] = (),
    stdout: int | None = None,
    stderr: int | None = None,
) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "stargate", *arguments]
    return subprocess.Popen(command, text=True, pass_fds=pass_fds, stdout=stdout, stderr=stderr)  # noqa: S603


def _stop(process: "subprocess.Popen[str]") -> None:
    """Ask it to end, and see to it that it does."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


@contextlib.contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """Whoever ends the demo with SIGTERM ends its parts too."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
