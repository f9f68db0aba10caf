// Package server is the only wiring: it knows every domain and every driver and
// builds one from the other. Nothing but package cli imports it.
package server
