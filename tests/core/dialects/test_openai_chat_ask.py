"""A chat request as it was read: nothing is made of it yet, and it shows nobody's words."""

from stargate_core.dialects.openai_chat_ask import ChatAsk, Prepared
from stargate_core.dialects.openai_chat_request import ChatRequest


class TestChatAsk:
    def test_at_first_nothing_is_wrong_fetched_or_made(self) -> None:
        ask = ChatAsk(ChatRequest(model="m", messages=[]), {})
        assert (ask.refused, ask.invalid, dict(ask.fetched), ask.prepared) == ((), None, {}, None)

    def test_it_shows_no_words(self) -> None:
        prepared = Prepared({"system": [{"text": "PLANTED"}]}, {"PLANTED": "PLANTED"}, False, False, False)
        ask = ChatAsk(ChatRequest(model="PLANTED", messages=[]), {}, ("logprobs",), prepared=prepared)
        assert "PLANTED" not in repr(ask)
        assert "PLANTED" not in repr(prepared)
