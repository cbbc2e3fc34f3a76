// Oracle says what Go's own library reads from a Go executable: the build information as
// `go version -m` shows it (debug/buildinfo), then every function (debug/gosym).
//
// Lines of fields with a tab between:
//
//	build version path module module-version
//	func  entry end name id  file line  pc file line
//
// Entry, end and pc are hexadecimal and relative to the first function: where that lies is not in
// the table. The first place is that of the entry, the second that of an instruction somewhere in
// the function. Unknown places are "? 0". The id is the funcID (internal/abi/symtab.go), which
// debug/gosym does not read.
package main

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: oracle FILE")
	}
	out := bufio.NewWriter(os.Stdout)
	if err := describe(out, os.Args[1]); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func describe(out io.Writer, path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "build\t%s\t%s\t%s\t%s\n", info.GoVersion, info.Path, info.Main.Path, info.Main.Version)
	file, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := pclntab(file)
	if err != nil {
		return err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, 0))
	if err != nil {
		return err
	}
	if len(table.Funcs) == 0 {
		return errors.New("no function in the table")
	}
	records, err := records(data, len(table.Funcs))
	if err != nil {
		return err
	}
	for i, f := range table.Funcs {
		// Spread over the functions, always the same.
		pc := f.Entry + uint64(i)*7919%max(f.End-f.Entry, 1)
		fmt.Fprintf(out, "func\t%x\t%x\t%s\t%d\t%s\t%x\t%s\n",
			f.Entry, f.End, f.Name, records[i].FuncID,
			place(table, records[i], f.Entry), pc, place(table, records[i], pc))
	}
	return nil
}

// Record is the start of a _func of Go 1.20 and later (runtime/runtime2.go).
type record struct {
	EntryOff, NameOff, Args, Deferreturn, Pcsp, Pcfile, Pcln, Npcdata, CuOffset, StartLine uint32
	FuncID                                                                                 uint8
}

// Records reads the record of every function: its offset is the second word of its entry in the
// function table.
func records(data []byte, count int) ([]record, error) {
	table := data[binary.LittleEndian.Uint64(data[64:]):]
	all := make([]record, count)
	for i := range all {
		offset := binary.LittleEndian.Uint32(table[8*i+4:])
		if _, err := binary.Decode(table[offset:], binary.LittleEndian, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// What follows the first byte of a header: that is f0 for Go 1.18, f1 from 1.20 on. The last but
// one is the smallest instruction on amd64 or arm64.
var headers = [][]byte{
	{0xff, 0xff, 0xff, 0, 0, 1, 8},
	{0xff, 0xff, 0xff, 0, 0, 4, 8},
}

// Pclntab finds the table by its section, else by the start of its header.
func pclntab(file *elf.File) ([]byte, error) {
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		if section := file.Section(name); section != nil {
			return section.Data()
		}
	}
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_LOAD || segment.Flags&elf.PF_X != 0 {
			continue
		}
		data, err := io.ReadAll(segment.Open())
		if err != nil {
			return nil, err
		}
		for _, header := range headers {
			if at := bytes.Index(data, header); at > 0 {
				return data[at-1:], nil
			}
		}
	}
	return nil, errors.New("no pclntab")
}

func place(table *gosym.Table, function record, pc uint64) string {
	// No table of lines: to the runtime that is no line (pcvalue in runtime/symtab.go), but
	// debug/gosym reads what lies at offset 0.
	if function.Pcln == 0 {
		return "?\t0"
	}
	file, line, _ := table.PCToLine(pc)
	if file == "" {
		file = "?"
	}
	return fmt.Sprintf("%s\t%d", file, max(line, 0))
}
