module leaktrace.example/player

go 1.21
