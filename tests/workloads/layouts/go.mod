module leaktrace.example/layouts

go 1.21
