package s3access

// midnight returns the Unix time in milliseconds at which a day begins in UTC,
// and whether there is such a day. The count of days is that of the proleptic
// Gregorian calendar, with the year begun in March so that leap days come last.
func midnight(year, month, day int) (ms int64, ok bool) {
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	leap := year%4 == 0 && (year%100 != 0 || year%400 == 0)
	if year < 1 || month < 1 || month > 12 || day < 1 || day > days[month-1] && !(leap && month == 2 && day == 29) {
		return 0, false
	}
	if month <= 2 {
		year--
		month += 12
	}
	inYear := (153*(month-3)+2)/5 + day - 1
	const epoch = 719468 // days from 0000-03-01 to 1970-01-01
	return int64(365*year+year/4-year/100+year/400+inYear-epoch) * 86_400_000, true
}
