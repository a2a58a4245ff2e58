"""One simulated Bedrock and one gateway for the whole suite, where a test needs nothing of its own."""

from collections.abc import Generator
from typing import Any

import openai
import pytest

from support.gateway import RunningGateway, running_gateway
from support.simulator import RunningSimulator, running_simulator


@pytest.fixture(scope="session")
def simulator() -> Generator[RunningSimulator]:
    """A Bedrock that answers at once."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway in front of it, with everything at its default."""
    with running_gateway(simulator.url) as running:
        yield running


@pytest.fixture(scope="session")
def client(gateway: RunningGateway) -> Generator[openai.OpenAI]:
    """openai-python."""
    with gateway.openai() as sdk:
        yield sdk


@pytest.fixture(scope="session")
def bedrock(gateway: RunningGateway) -> Generator[Any]:
    """boto3."""
    sdk = gateway.bedrock()
    yield sdk
    sdk.close()
