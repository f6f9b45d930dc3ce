// Decodes request bodies as dockerd does, for the test that compares dockgate's reading with Go's
// (tests/it/differential).
//
//	decoder fields     the fields of all bodies, as JSON by shape
//	decoder            reads requests and answers them until the end of its input
//
// A request is a line `SHAPE LENGTH LENGTH` and two bodies of these lengths: the client's, and what
// dockgate would send. The answer is one line for each body in each generation of engines, first
// the client's bodies: `+JSON` for what was understood, `=` for the same as on the last `+` line of
// this answer, `-REASON` for a body that the engine answers with 400.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"reflect"
)

// generation is what differs between engines in how they read a body.
type generation struct {
	name string
	// refusesTrailing is false for 20.10, which never looked behind the first value.
	refusesTrailing bool
	// flatHostConfig is up to 26.1: see createUntil26.
	flatHostConfig bool
	loneStrings    bool
}

// The Rust test knows this order.
var generations = []generation{
	{"20.10", false, true, true},
	{"23 to 26", true, true, true},
	{"27 and 28", true, false, true},
	{"29", true, false, false},
}

// shapes are the endpoints of dockgate's table by their ids.
var shapes = map[string]func() any{
	"ContainerCreate":   func() any { return new(create) },
	"ContainerUpdate":   func() any { return new(update) },
	"ContainerExec":     func() any { return new(execCreate) },
	"ContainerCopy":     func() any { return new(copyFrom) },
	"CheckpointCreate":  func() any { return new(checkpoint) },
	"ExecStart":         func() any { return new(execStart) },
	"ImageCommit":       func() any { return new(Config) },
	"NetworkCreate":     func() any { return new(networkCreate) },
	"NetworkConnect":    func() any { return new(networkConnect) },
	"NetworkDisconnect": func() any { return new(networkDisconnect) },
	"SystemAuth":        func() any { return new(auth) },
	"VolumeCreate":      func() any { return new(volumeCreate) },
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 && os.Args[1] == "fields" {
		all := map[string]any{}
		for name, empty := range shapes {
			all[name] = schema(reflect.TypeOf(empty()).Elem())
		}
		if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := serve(bufio.NewReaderSize(os.Stdin, 1<<16), bufio.NewWriterSize(os.Stdout, 1<<16)); err != nil {
		log.Fatal(err)
	}
}

func serve(in *bufio.Reader, out *bufio.Writer) error {
	for {
		// Whoever asks waits for what is in the buffer.
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		var shape string
		var lengths [2]int
		if _, err := fmt.Sscanf(line, "%s %d %d", &shape, &lengths[0], &lengths[1]); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		var last []byte
		for _, length := range lengths {
			body := make([]byte, length)
			// A body may be cut into pieces by the pipe.
			if in.Buffered() < length {
				if err := out.Flush(); err != nil {
					return err
				}
			}
			if _, err := io.ReadFull(in, body); err != nil {
				return err
			}
			for _, engine := range generations {
				last = answer(out, last, shape, engine, body)
			}
		}
	}
}

func answer(out *bufio.Writer, last []byte, shape string, engine generation, body []byte) []byte {
	understood, err := decode(shape, engine, body)
	if err != nil {
		fmt.Fprintf(out, "-%q\n", err.Error())
		return last
	}
	text := canonical(nil, reflect.ValueOf(understood))
	if last != nil && bytes.Equal(text, last) {
		out.WriteString("=\n")
		return last
	}
	out.WriteByte('+')
	out.Write(text)
	out.WriteByte('\n')
	return text
}

func decode(shape string, engine generation, body []byte) (any, error) {
	loneStrings = engine.loneStrings
	if shape != "ContainerCreate" {
		into := shapes[shape]()
		return into, read(engine, body, into)
	}
	if engine.flatHostConfig {
		var wrapper createUntil26
		err := read(engine, body, &wrapper)
		return wrapper.understood(), err
	}
	var wrapper createFrom27
	err := read(engine, body, &wrapper)
	return joined(wrapper.Config, wrapper.HostConfig, wrapper.NetworkingConfig), err
}

func read(engine generation, body []byte, into any) error {
	from := json.NewDecoder(bytes.NewReader(body))
	if err := from.Decode(into); err != nil {
		return err
	}
	if engine.refusesTrailing && from.More() {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// understood applies the rules by which old engines join the two places of a HostConfig: the inner
// one counts, but five fields that are zero there are taken from outside, and `Cpuset` is an old
// name of one of them.
func (wrapper *createUntil26) understood() *create {
	outer, inner := wrapper.HostConfig, wrapper.Inner
	chosen := inner
	switch {
	case inner == nil:
		chosen = outer
	case outer != nil:
		fill(&inner.Memory, outer.Memory)
		fill(&inner.MemorySwap, outer.MemorySwap)
		fill(&inner.CPUShares, outer.CPUShares)
		fill(&inner.CpusetCpus, outer.CpusetCpus)
		fill(&inner.VolumeDriver, outer.VolumeDriver)
	}
	if chosen != nil {
		fill(&chosen.CpusetCpus, wrapper.Cpuset)
	}
	return joined(wrapper.Config, chosen, wrapper.NetworkingConfig)
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func joined(config *Config, host *HostConfig, networking *networkingConfig) *create {
	whole := &create{HostConfig: host, NetworkingConfig: networking}
	if config != nil {
		whole.Config = *config
	}
	return whole
}
