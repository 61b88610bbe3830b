/* Hands the micro-benchmarks to Google Benchmark; all of them are C. */
#include <benchmark/benchmark.h>

#include "bench/micro/micro.h"

static void run(benchmark::State &state, const struct micro *micro)
{
    void *world = micro->set_up == nullptr ? nullptr : micro->set_up();
    auto batch = static_cast<benchmark::IterationCount>(micro->batch);
    while (state.KeepRunningBatch(batch)) {
        micro->run(world, micro->batch);
    }
    auto items = static_cast<int64_t>(micro->items == 0 ? 1 : micro->items);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * items);
    if (micro->tear_down != nullptr) {
        micro->tear_down(world);
    }
}

int main(int argc, char **argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 2;
    }
    for (const struct micro *micro = micro_all(); micro->name != nullptr; micro++) {
        auto *registered = benchmark::RegisterBenchmark(micro->name, run, micro);
        if (micro->is_concurrent) {
            registered->UseRealTime();
        }
    }
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
