// Package preview shows the app's dashboards in a browser without Splunk: a
// stand-in for what of splunkd and Splunk's web interface a dashboard needs,
// over the evaluator of internal/spl, with the pages drawn by Splunk's own
// renderer.
//
// The way through it:
//
//	open.go      the whole of it, for the commands
//	data.go      what is searched: a played scenario, a file, or events as they come
//	play.go      has the program play a scenario once, and keeps what came of it
//	rest.go      splunkd's search REST: jobs, results, chained searches
//	page.go      pages, navigation, the plain search page
//	server.go    listener on loopback, and who may ask
//	bundle.go    the renderer, bundled from web/ and the packages of tools/dashboards
//	receive.go   events as they come
//	browser.go   one Chromium that draws pages
//	look.go      what is to be seen of a page, and what does not fit
//
// serve is `make preview`; shoot draws one page, and with --pictures those of the
// documentation: `make screenshots`. None of it is part of a package.
package preview
