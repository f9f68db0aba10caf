// Command quire is a notebook data platform in one binary.
package main

func main() {}
