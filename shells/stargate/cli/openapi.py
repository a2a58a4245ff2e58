"""`stargate openapi`: what the gateway answers at its built-in paths, as an OpenAPI 3.1 document."""

from importlib import metadata

import click
import msgspec
import yaml

from stargate.cli.examples import examples
from stargate_core.dialects.openapi import document


@click.command(
    "openapi",
    context_settings={"show_default": True},
    epilog=examples(
        "stargate openapi > openapi.json",
        "stargate openapi --yaml --server https://llm.example",
    ),
)
@click.option("--yaml", "as_yaml", is_flag=True, help="YAML instead of JSON.")
@click.option("--server", default="http://127.0.0.1:8080", metavar="URL", help="Where the gateway listens.")
def openapi(as_yaml: bool, server: str) -> None:
    """Print the gateway's own OpenAPI document: its built-in paths, and what they take and answer."""
    described = document(version=metadata.version("stargate-gateway"), server=server)
    text = msgspec.json.encode(described)
    if as_yaml:
        # Decoded anew, so that nothing in it is the same object, and YAML has no need of anchors.
        plain = msgspec.json.decode(text)
        click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110), nl=False)
    else:
        click.echo(msgspec.json.format(text, indent=2))
