"""Measures a model, and compares all processors with one: python performance_comparison.py MODEL.

The other side of a comparison may be anything with generate(prompt): another model, another library, a function.
"""

import sys

import bitnet_py

PROMPTS = ["And God said", "And it came to pass", "Blessed are"]


def main() -> None:
    model = bitnet_py.load_model(sys.argv[1])
    tokenizer = bitnet_py.create_tokenizer(sys.argv[1])
    system = bitnet_py.get_system_info()
    print(f"{system['target_os']} {system['target_arch']}, {' '.join(system['cpu_features'])}")

    gen_args = bitnet_py.GenArgs(gen_length=32)
    measured = bitnet_py.benchmark_inference(model, tokenizer, PROMPTS, gen_args, num_runs=3)
    print(
        f"{measured['total_tokens']} tokens in {measured['total_time']:.2f} s: "
        f"{measured['avg_tokens_per_second']:.0f} tokens/s, {measured['avg_latency'] * 1000:.1f} ms a prompt"
    )

    config = bitnet_py.InferenceConfig(max_new_tokens=32, do_sample=False)
    one_thread = bitnet_py.SimpleInference(model, tokenizer, config, threads=1)
    compared = bitnet_py.compare_performance(model, one_thread, tokenizer, PROMPTS)
    print(f"all processors are {compared['speedup']:.2f} times as fast as one")

    checked = bitnet_py.validate_outputs(model, one_thread, tokenizer, PROMPTS)
    print(f"equal texts: {checked['num_matches']} of {checked['num_prompts']}")


if __name__ == "__main__":
    main()
