// Package dashboard reads the app's Dashboard Studio pages and tells what is
// wrong with them: what Splunk's own validator does not see, and whether their
// searches run and give what their panels draw.
//
// A page is splunk_app/default/data/ui/views/NAME.xml: an XML envelope with the
// definition as indented JSON. Searches are run by internal/spl, the same text
// that Splunk would get. The package draws nothing and serves nothing.
package dashboard
