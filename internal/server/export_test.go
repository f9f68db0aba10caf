package server

// builtBinary returns a quire that was built for the tests; TestMain sets it.
var builtBinary func() (string, error)

// SetBuiltBinary gives the tests of this package the binary of those outside.
func SetBuiltBinary(f func() (string, error)) { builtBinary = f }
