package main

// What Go made of a body, and what the types are, both as JSON: one form for equal values, whatever
// the body looked like. Written: what is not nil, and of plain scalars and structs what is not zero;
// so `[]` is not null and a pointer to 0 is not nil, because engines tell these apart.

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

func canonical(out []byte, value reflect.Value) []byte {
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			return append(out, "null"...)
		}
		return canonical(out, value.Elem())
	case reflect.Struct:
		out = append(out, '{')
		out = members(out, value)
		return append(closed(out), '}')
	case reflect.Map:
		if value.IsNil() {
			return append(out, "null"...)
		}
		keys := value.MapKeys()
		sort.Slice(keys, func(a, b int) bool { return keys[a].String() < keys[b].String() })
		out = append(out, '{')
		for _, key := range keys {
			out = append(quoted(out, key.String()), ':')
			out = append(canonical(out, value.MapIndex(key)), ',')
		}
		return append(closed(out), '}')
	case reflect.Slice, reflect.Array:
		if value.Kind() == reflect.Slice && value.IsNil() {
			return append(out, "null"...)
		}
		out = append(out, '[')
		for i := 0; i < value.Len(); i++ {
			out = append(canonical(out, value.Index(i)), ',')
		}
		return append(closed(out), ']')
	case reflect.String:
		return quoted(out, value.String())
	case reflect.Bool:
		return strconv.AppendBool(out, value.Bool())
	case reflect.Int, reflect.Int64:
		return strconv.AppendInt(out, value.Int(), 10)
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(out, value.Uint(), 10)
	}
	panic(fmt.Sprint("no canonical form of ", value.Kind()))
}

// members writes the fields of a struct, each with a comma behind it.
func members(out []byte, value reflect.Value) []byte {
	for i := 0; i < value.NumField(); i++ {
		field, held := value.Type().Field(i), value.Field(i)
		if field.Anonymous {
			out = members(out, held)
			continue
		}
		if held.IsZero() {
			continue
		}
		start := len(out)
		out = append(quoted(out, name(field)), ':')
		body := len(out)
		out = canonical(out, held)
		// a struct of nothing but zeros, where IsZero sees an empty list
		if held.Kind() == reflect.Struct && string(out[body:]) == "{}" {
			out = out[:start]
			continue
		}
		out = append(out, ',')
	}
	return out
}

// closed drops the comma behind the last member.
func closed(out []byte) []byte {
	if out[len(out)-1] == ',' {
		return out[:len(out)-1]
	}
	return out
}

func quoted(out []byte, text string) []byte {
	written, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return append(out, written...)
}

func name(field reflect.StructField) string {
	if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag != "" {
		return tag
	}
	return field.Name
}

// schema is the type as JSON: {"is": ..., "of": element, "fields": {...}, "length": n}.
func schema(kind reflect.Type) map[string]any {
	switch kind.Kind() {
	case reflect.Pointer:
		return map[string]any{"is": "pointer", "of": schema(kind.Elem())}
	case reflect.Slice:
		if kind == reflect.TypeOf(strSlice{}) {
			return map[string]any{"is": "strings", "of": schema(kind.Elem())}
		}
		return map[string]any{"is": "list", "of": schema(kind.Elem())}
	case reflect.Array:
		return map[string]any{"is": "array", "of": schema(kind.Elem()), "length": kind.Len()}
	case reflect.Map:
		return map[string]any{"is": "map", "of": schema(kind.Elem())}
	case reflect.Struct:
		fields := map[string]any{}
		collect(fields, kind)
		return map[string]any{"is": "struct", "fields": fields}
	case reflect.String:
		return map[string]any{"is": "string"}
	case reflect.Bool:
		return map[string]any{"is": "bool"}
	}
	return map[string]any{"is": "int"}
}

func collect(fields map[string]any, kind reflect.Type) {
	for i := 0; i < kind.NumField(); i++ {
		field := kind.Field(i)
		if field.Anonymous {
			collect(fields, field.Type)
			continue
		}
		fields[name(field)] = schema(field.Type)
	}
}
