"""The networks and the backends that every test of traces goes through."""

import pytest

from shared.config import Config
from tests.support.pairwise import slow_but
from tests.support.trace_cases import BACKENDS, CASES, USUAL


@pytest.fixture(params=slow_but(CASES, USUAL))
def case(request) -> Config:
    return CASES[request.param]


@pytest.fixture(params=[f"{backend}/handcrafted" for backend in BACKENDS])
def contender(request) -> str:
    return request.param
