package parameter

import (
	"iter"
	"slices"
)

// Set is an ordered map from parameter name to value. The first Put of a name
// fixes its place, the last one its value. The zero Set is empty and ready.
// Copying a Set shares its content: use Clone for an independent one. A Set may
// be read from several goroutines while none changes it.
type Set struct {
	names  []string
	values map[string]Value
}

// SetOf returns a set with the given fields, whose keys must be strings (others
// are taken as their text).
func SetOf(fields ...Field) Set {
	var s Set
	for _, f := range fields {
		s.Put(f.Key.keyText(), f.Value)
	}
	return s
}

// Put sets the value of a name.
func (s *Set) Put(name string, v Value) {
	if s.values == nil {
		s.values = make(map[string]Value)
	}
	if _, ok := s.values[name]; !ok {
		s.names = append(s.names, name)
	}
	s.values[name] = v
}

// Merge puts all of other into s, in other's order.
func (s *Set) Merge(other Set) {
	for name, v := range other.All() {
		s.Put(name, v)
	}
}

// Delete removes a name; an unknown name is no error.
func (s *Set) Delete(name string) {
	if _, ok := s.values[name]; !ok {
		return
	}
	delete(s.values, name)
	s.names = slices.DeleteFunc(slices.Clone(s.names), func(n string) bool { return n == name })
}

// Get returns the value of a name, and whether the set has it.
func (s Set) Get(name string) (Value, bool) {
	v, ok := s.values[name]
	return v, ok
}

// Has reports whether the set has a name.
func (s Set) Has(name string) bool {
	_, ok := s.values[name]
	return ok
}

// Len returns the number of names.
func (s Set) Len() int { return len(s.names) }

// Names returns the names in order, as a new slice.
func (s Set) Names() []string { return slices.Clone(s.names) }

// All yields names and values in order.
func (s Set) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, name := range s.names {
			if !yield(name, s.values[name]) {
				return
			}
		}
	}
}

// Clone returns an independent copy.
func (s Set) Clone() Set {
	var c Set
	c.Merge(s)
	return c
}

// Equal reports whether both sets hold the same names with equal values, in
// whatever order.
func (s Set) Equal(other Set) bool {
	if s.Len() != other.Len() {
		return false
	}
	for name, v := range s.All() {
		if w, ok := other.Get(name); !ok || !v.Equal(w) {
			return false
		}
	}
	return true
}

// Value returns the set as a dictionary value with string keys.
func (s Set) Value() Value {
	fields := make([]Field, 0, len(s.names))
	for name, v := range s.All() {
		fields = append(fields, Field{Key: String(name), Value: v})
	}
	return Value{kind: KindDict, fields: fields}
}
