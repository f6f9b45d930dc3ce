-- For wrk: one line with what was counted.
done = function(summary)
   local errors = summary.errors
   io.write(string.format("counted %d %d %d %d\n", summary.requests, summary.bytes, summary.duration,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
