module github.com/google/cadvisor

go 1.21
