// Package house holds the rules of the house, as tests: which room may import
// which, what may lie at the top of the repository, what no file may contain,
// which licences the program may carry.
//
// Its one function for others is Files, for tests. A new room gets a line in rooms, a new top-level
// folder one in topLevel, each with its reason.
package house
