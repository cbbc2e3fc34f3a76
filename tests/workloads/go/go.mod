module leaktrace.example/workload

go 1.21
