"""Streams in asyncio: three at once on one model, one of them cut short, and one awaited: async_streaming.py MODEL.

All streams of a model share its engine, which computes their tokens together; each has its own text all the same.
"""

import asyncio
import sys

import bitnet_py


async def follow(inference: bitnet_py.SimpleInference, prompt: str) -> str:
    """The text, printed as soon as it is whole."""
    pieces = [piece async for piece in inference.generate_stream(prompt)]
    text = prompt + "".join(pieces)
    print(f"done: {text!r}")
    return text


async def follow_a_little(inference: bitnet_py.SimpleInference, prompt: str) -> str:
    """Five pieces; leaving the block ends the stream."""
    text = prompt
    async with inference.generate_stream(prompt) as stream:
        for _ in range(5):
            text += await anext(stream, "")
        stream.cancel()  # within a token, from any task or thread
    print(f"cancelled: {text!r}")
    return text


async def main() -> None:
    model = bitnet_py.load_model(sys.argv[1])
    tokenizer = bitnet_py.create_tokenizer(sys.argv[1])
    config = bitnet_py.InferenceConfig(max_new_tokens=24, do_sample=False)
    inference = bitnet_py.SimpleInference(model, tokenizer, config)

    await asyncio.gather(
        follow(inference, "And God said"),
        follow(inference, "And it came to pass"),
        follow_a_little(inference, "Blessed are"),
    )

    # A stream that is awaited gives the whole text.
    text = await asyncio.wait_for(inference.generate_stream("The LORD is"), timeout=60)
    print(f"awaited: {text!r}")


if __name__ == "__main__":
    asyncio.run(main())
