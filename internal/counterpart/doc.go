// Package counterpart starts the real programs that aiwatch talks to, for
// integration tests: an S3 server, SQS with S3 notifications, OpenTelemetry's
// HEC receiver, MLflow 2 and 3, Git and LFS over HTTP, and Splunk's dashboard
// renderer in a browser. No test of a collector, of the delivery or of a
// dashboard is finished before it ran against one of these.
//
// Each function starts its program on a free loopback port, waits until it
// answers, and stops it when the test ends; the program's output is in the log
// of a test that failed:
//
//	func TestSweep(t *testing.T) {
//		server := counterpart.MLflow3(t, counterpart.MLflowOptions{ServeArtifacts: true})
//		server.Python(t, `
//	import mlflow
//	mlflow.MlflowClient().create_registered_model("fraud")
//	`)
//		collector := mlflow.New(mlflow.Settings{URL: server.URL})
//		...
//		server.Stop() // and server.Start() again, same address, same data
//	}
//
// The programs are pinned and installed by tools/tools.sh. Where one is not
// installed the test is skipped with a line that begins with "counterpart NAME
// absent"; with the environment variable CI set it fails instead, so that
// nothing is skipped unseen. Runs with -short leave counterparts out.
//
// Read process.go for how a program is started and stopped; each counterpart is
// in the file of its name. The package is for tests alone and imports nothing of
// ours.
package counterpart
