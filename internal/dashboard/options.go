package dashboard

import "strings"

// What our pages use of Dashboard Studio. Splunk's validator lets an option pass
// that the renderer does not know; here it is an error, and so is a type that is
// not in the table. Names are those of @splunk/visualizations 28.6; an option that
// Splunk 9.2 does not have stays out.

// kinds of things in a definition.
const (
	search    = "ds.search"
	chain     = "ds.chain"
	timeRange = "input.timerange"
	dropdown  = "input.dropdown"
	grid      = "grid"
)

// A kind is a type of visualization: its options, the events of a click, the
// data sources it can have, the options that hold an expression over them, and
// whether numbers are read off axes.
type kind struct {
	options, events, sources []string
	axes                     bool
}

func words(s string) []string { return strings.Fields(s) }

// axes are the options of what is drawn in a plane.
const axes = ` x y xAxisTitleText xAxisTitleVisibility xAxisLabelVisibility xAxisLabelRotation xAxisMaxLabelParts xAxisLineVisibility xAxisMajorTickVisibility
	yAxisTitleText yAxisTitleVisibility yAxisLabelVisibility yAxisMin yAxisMax yAxisScale yAxisAbbreviation yAxisMajorTickInterval yAxisLineVisibility showYMajorGridLines
	y2 y2AxisTitleText y2AxisTitleVisibility y2AxisMin y2AxisMax y2AxisAbbreviation overlayFields showOverlayY2Axis showRoundedY2AxisLabels
	legendDisplay legendLabels legendMode legendTruncation seriesColors seriesColorsByField stackMode dataValuesDisplay resultLimit
	annotationX annotationLabel annotationColor lineDashStylesByField lineWidth backgroundColor `

var kinds = map[string]kind{
	"splunk.area":   {words(axes + "areaOpacity showLines nullValueDisplay"), words("point.click legend.click"), words("primary annotation"), true},
	"splunk.line":   {words(axes + "markerDisplay nullValueDisplay"), words("point.click legend.click"), words("primary annotation"), true},
	"splunk.column": {words(axes + "columnSpacing seriesSpacing columnGrouping"), words("point.click legend.click"), words("primary annotation"), true},
	"splunk.bar":    {words(axes + "barSpacing seriesSpacing"), words("point.click legend.click"), words("primary"), true},
	"splunk.events": {words("eventActions fieldActions"), words("event.click"), words("primary"), false},
	"splunk.linkgraph": {
		words("fieldOrder linkColor linkWidth nodeColor nodeTextColor nodeHighlightColor nodeTextHighlightColor nodeHeight nodeWidth nodeSpacingX nodeSpacingY nodeLabelOverflow showNodeCounts showValueCounts resultLimit backgroundColor"),
		words("node.click"), words("primary"), false,
	},
	"splunk.markdown": {words("markdown fontSize customFontSize fontColor fontFamily backgroundColor"), nil, nil, false},
	"splunk.pie":      {words("label value labelDisplay showDonutHole collapseThreshold seriesColors seriesColorsByField legendDisplay resultLimit backgroundColor"), words("pie.click legend.click"), words("primary"), false},
	"splunk.sankey":   {words("linkValues linkColors linkOpacity labelDisplay colorMode seriesColors unit resultLimit backgroundColor"), words("node.click link.click"), words("primary"), false},
	"splunk.singlevalue": {
		words("majorValue majorColor majorFontSize numberPrecision shouldAbbreviateMajorValue shouldUseThousandSeparators unit unitPosition underLabel underLabelColor underLabelFontSize trendValue trendDisplay trendColor shouldAbbreviateTrendValue sparklineValues sparklineDisplay sparklineStrokeColor showSparklineAreaGraph sparklineAreaColor showSparklineTooltip backgroundColor"),
		words("value.click"), words("primary"), false,
	},
	"splunk.table":    {words("table headers columnFormat tableFormat count fontSize font showRowNumbers showInternalFields headerVisibility backgroundColor"), words("cell.click"), words("primary"), false},
	"splunk.timeline": {words("x y category duration durationUnit additionalTooltipFields dataColors seriesColors legendDisplay legendTruncation resultLimit yAxisLabelWidth backgroundColor"), words("event.click lane.click legend.click"), words("primary"), false},
}

// columnOptions are those of one column of a table.
var columnOptions = words("width align textOverflow rowColors rowBackgroundColors data")

// inputKinds are the types of inputs.
var inputKinds = []string{timeRange, dropdown}

// layoutOptions are those of a grid. Its pages are as wide as pageWidth.
var layoutOptions = words("gutterSize backgroundColor showTitleAndDescription submitButton")

const pageWidth = 1200

// Palette are the colours that a page may name, legible on the dark theme and on
// the light one. For all else there are the themes' own (> themes.defaultColor).
var Palette = map[string]string{
	"critical": "#D13D4B",
	"high":     "#E0702E",
	"medium":   "#C99A1B",
	"low":      "#3F8FD9",
	"good":     "#3C9C5B",
	"neutral":  "#7C8794",
	"ink":      "#14171A", // of a text on one of these
}
