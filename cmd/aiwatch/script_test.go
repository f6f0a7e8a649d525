package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts and fault tests run the program as a process of its
// own: the test binary, called aiwatch.
func TestMain(m *testing.M) {
	testscript.Main(cleaning{m}, map[string]func(){
		"aiwatch": main,
		"fields":  fields,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// No machine's own configuration or credentials reach a script.
			env.Setenv("AIWATCH_CONF", env.WorkDir+"/conf")
			env.Setenv("AIWATCH_STATE", env.WorkDir+"/state")
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Setenv("AWS_CONFIG_FILE", env.WorkDir+"/none")
			env.Setenv("AWS_SHARED_CREDENTIALS_FILE", env.WorkDir+"/none")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": code,
		},
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// code runs a program and compares its exit code: code 2 aiwatch run.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		_, after, found := strings.Cut(err.Error(), "exit status ")
		if !found {
			ts.Fatalf("%v", err)
		}
		got, err = strconv.Atoi(after)
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// fields prints the named fields of the events on standard input, an event a
// line, so that a script can compare what matters: fields operation user.
func fields() {
	in := json.NewDecoder(os.Stdin)
	for in.More() {
		var envelope map[string]any
		if err := in.Decode(&envelope); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		e, ok := envelope["event"].(map[string]any)
		if !ok {
			e = envelope
		}
		var row []string
		for _, name := range os.Args[1:] {
			value, ok := e[name]
			if !ok {
				value, ok = envelope[name]
			}
			if !ok {
				value = "-"
			}
			row = append(row, fmt.Sprint(value))
		}
		fmt.Println(strings.Join(row, " "))
	}
}
