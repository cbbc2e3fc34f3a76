// Oracle says what Go's own library reads from a Go executable: the build information as
// `go version -m` shows it (debug/buildinfo), then every function (debug/gosym).
//
// Lines of fields with a tab between:
//
//	build version path module module-version
//	func  entry end name  file line  pc file line
//
// Entry, end and pc are hexadecimal and relative to the first function: where that lies is not in
// the table. The first place is that of the entry, the second that of an instruction somewhere in
// the function. Names are as the runtime prints them. Unknown places are "? 0".
package main

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
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
	for i, f := range table.Funcs {
		// Spread over the functions, always the same.
		pc := f.Entry + uint64(i)*7919%max(f.End-f.Entry, 1)
		fmt.Fprintf(out, "func\t%x\t%x\t%s\t%s\t%x\t%s\n",
			f.Entry, f.End, printed(f.Name), place(table, f.Entry), pc, place(table, pc))
	}
	return nil
}

// Pclntab finds the table by its section, else by the start of its header.
func pclntab(file *elf.File) ([]byte, error) {
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		if section := file.Section(name); section != nil {
			return section.Data()
		}
	}
	for _, quantum := range []byte{1, 4} {
		header := []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, quantum, 8}
		for _, segment := range file.Progs {
			if segment.Type != elf.PT_LOAD || segment.Flags&elf.PF_X != 0 {
				continue
			}
			data, err := io.ReadAll(segment.Open())
			if err != nil {
				return nil, err
			}
			if at := bytes.Index(data, header); at >= 0 {
				return data[at:], nil
			}
		}
	}
	return nil, errors.New("no pclntab")
}

func place(table *gosym.Table, pc uint64) string {
	file, line, _ := table.PCToLine(pc)
	if file == "" {
		file = "?"
	}
	return fmt.Sprintf("%s\t%d", file, max(line, 0))
}

// Printed leaves out type arguments, as funcNameForPrint in runtime/symtab.go does.
func printed(name string) string {
	open, end := strings.IndexByte(name, '['), strings.LastIndexByte(name, ']')
	if open < 0 || end < open {
		return name
	}
	return name[:open] + "[...]" + name[end+1:]
}
