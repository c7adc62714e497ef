"""What Google's benchmark_model prints, made up number by number."""

SUMMARY = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [model.tflite]
INFO: #threads used for CPU inference: [4]
INFO: Loaded model model.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 13.9
INFO: Initialized session in 41.234ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=31000 curr=28700 min=28500 max=31000 avg=29100 std=950 p5=28500 median=28700 p95=31000

INFO: Running benchmark for at least 13 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=13 first=28540 curr=28431 min=28120 max=29012 avg=28473.5 std=187 p5=28120 median=28450 p95=29012

INFO: Inference timings in us: Init: 41234, First inference: 31000, Warmup (avg): 29100, Inference (avg): 28473.5
INFO: Memory footprint delta from the start of the tool (MB): init=12.3 overall=34.5
INFO: Overall peak memory footprint (MB) via periodic monitoring: 45.5
"""

PROFILE = """\
INFO: Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
               [node type]    [first]   [avg ms]       [%]    [cdf%]    [mem KB]  [times called]  [Name]
           AllocateTensors      0.021      0.021  100.000%  100.000%       0.000          1  AllocateTensors/0
Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
               [node type]    [first]   [avg ms]       [%]    [cdf%]    [mem KB]  [times called]  [Name]
    TfLiteXNNPackDelegate     20.000     21.500   75.439%   75.439%       0.000          1  [features]:98
                  TOPK_V2      6.900      7.000   24.561%  100.000%       0.000          1  [scores, indices]:64

============================== Top by Computation Time ==============================
               [node type]    [first]   [avg ms]       [%]    [cdf%]    [mem KB]  [times called]  [Name]
    TfLiteXNNPackDelegate     20.000     21.500   75.439%   75.439%       0.000          1  [features]:98
Number of nodes executed: 2
"""

LITERT = """\
INFO: [benchmark_litert_model.cc:120] Loading model from: model.tflite
INFO: Running benchmark for at least 13 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=13 first=2854 curr=2843 min=2812 max=2901 avg=2847.4 std=18 p5=2812 median=2845 p95=2901
INFO: [benchmark_litert_model.h:80]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:81] Model initialization: 4.12 ms
INFO: [benchmark_litert_model.h:83] Warmup (first):       3.10 ms
INFO: [benchmark_litert_model.h:85] Warmup (avg):         2.91 ms (5 runs)
INFO: [benchmark_litert_model.h:87] Inference (avg):      2.85 ms (13 runs)
INFO: [benchmark_litert_model.h:91] Inference (min):      2.81 ms
INFO: [benchmark_litert_model.h:93] Inference (max):      2.90 ms
INFO: [benchmark_litert_model.h:95] Inference (std):      0.02
INFO: [benchmark_litert_model.h:122] Peak memory:          15.50 MB
"""

OF_2019 = """\
count=5 first=3100 curr=2870 min=2850 max=3100 avg=2910 std=95

Running benchmark for at least 13 iterations and at least 0 seconds
count=13 first=2854 curr=2843 min=2812 max=2901 avg=2847.4 std=18

Average inference timings in us: Warmup: 2910, Init: 4123, no stats: 2847.4
"""
