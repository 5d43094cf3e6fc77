"""Text from a model. Every generation has its own session, so that several may run at once on one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import _runtime
from .errors import ConfigError
from .model import BitNetModel, Tokenizer


class TextStream(Iterator[str]):
    """Pieces of text as they are made, each of whole characters. May be cancelled from any thread."""

    def __init__(self, generation: _runtime.Generation) -> None:
        self._generation = generation
        self.tokens: list[int] = []  # all drawn, with the stop token if one ended the text
        self.finish_reason: str | None = None  # "stop", "length", "cancelled"; None while running

    def __next__(self) -> str:
        while self.finish_reason is None:
            token, text, self.finish_reason = self._generation.next()
            if token >= 0:
                self.tokens.append(token)
            if text:
                return text
        raise StopIteration

    def cancel(self) -> None:
        """Ends the stream within one token. Text that was delivered stays."""
        self._generation.cancel()

    @property
    def timings(self) -> _runtime.Timings:
        """Tokens and seconds so far, of the prompt and of the generation."""
        return self._generation.timings()


class SimpleInference:
    """Continues prompts with a model.

    threads: 0 = one for each CPU that this process may use. context: positions to hold; 0 = as many as a call needs.
    """

    def __init__(self, model: BitNetModel, tokenizer: Tokenizer, *, threads: int = 0, context: int = 0) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.threads = threads
        self.context = context

    def generate_stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        ignore_eos: bool = False,
    ) -> TextStream:
        """The continuation of a prompt, piece by piece. Temperature 0 always takes the likeliest token."""
        if max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens: expected 1 or more, got {max_new_tokens}")
        tokens = self.tokenizer.encode(prompt, bos=True)
        needed = min(len(tokens) + max_new_tokens, self.model.info()["context"])
        return TextStream(
            _runtime.Generation(
                self.model._native,
                tokens,
                context=self.context or needed,
                threads=self.threads,
                max_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                repetition_window=0,
                seed=seed,
                ignore_eos=ignore_eos,
                stop=[stop] if isinstance(stop, str) else list(stop),
            )
        )

    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        ignore_eos: bool = False,
    ) -> str:
        """The continuation of a prompt, without the prompt."""
        return "".join(
            self.generate_stream(
                prompt,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                seed=seed,
                stop=stop,
                ignore_eos=ignore_eos,
            )
        )
