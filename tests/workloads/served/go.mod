module leaktrace.example/served

go 1.21
