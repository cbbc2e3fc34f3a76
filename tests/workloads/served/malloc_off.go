//go:build !cgo

package main

func mallocLarge(int) { panic("no C in this build") }

func mallocSmall(int) { panic("no C in this build") }

func mapByC(int) { panic("no C in this build") }
