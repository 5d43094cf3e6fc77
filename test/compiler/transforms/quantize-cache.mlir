// RUN: bitnet-opt %s --bitnet-quantize-cache=kv=q8 | FileCheck %s
// RUN: bitnet-opt %s --bitnet-quantize-cache=kv=f16 | FileCheck %s --check-prefix=F16

// Every state of the cache, and the function's own types.
// CHECK-LABEL: func @layer
// CHECK-SAME: %[[C0:arg[0-9]+]]: !bitnet.kv_cache<2 x 16 x q8>) -> (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16 x q8>)
// CHECK: %[[C1:.*]] = bitnet.kv_append {{.*}}, %[[C0]] : {{.*}} -> !bitnet.kv_cache<2 x 16 x q8>
// CHECK: bitnet.attention %{{[a-z0-9]+}}, %[[C1]], {{.*}}!bitnet.kv_cache<2 x 16 x q8>
// CHECK: return %{{.*}}, %[[C1]] : tensor<?x64xf32>, !bitnet.kv_cache<2 x 16 x q8>
// F16-NOT: q8
func.func @layer(%q: tensor<?x64xf32>, %k: tensor<?x32xf32>, %v: tensor<?x32xf32>, %i: tensor<?xi32>,
                 %blocks: tensor<?x?xi32>, %c0: !bitnet.kv_cache<2 x 16>) -> (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>) {
  %c1 = bitnet.kv_append %k, %v, %i, %c0
      : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  %o = bitnet.attention %q, %c1, %i, %i, %blocks
     : (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x64xf32>
  return %o, %c1 : tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>
}
