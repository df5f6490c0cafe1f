module taskmill.dev/benchmarks/peers/gopeer

go 1.25.0
