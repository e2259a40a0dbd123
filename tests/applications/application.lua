-- What tests/applications.rs asks of every runtime, by `do` of the query: WSAPI.
local names = { "REQUEST_METHOD", "QUERY_STRING", "SCRIPT_NAME", "PATH_INFO", "CONTENT_LENGTH", "HTTP_X_WORD" }

local function pieces(...)
    local at, all = 0, { ... }
    return function()
        at = at + 1
        return all[at]
    end
end

local function answer(env)
    local headers = { ["X-Application"] = "wsapi", ["Content-Type"] = "text/plain" }
    local what = env.QUERY_STRING:match("^do=(%w+)")
    if what == "params" then
        local lines = {}
        for at, name in ipairs(names) do
            lines[at] = name .. "=" .. (env[name] or "") .. "\n"
        end
        return 200, headers, pieces(table.concat(lines))
    elseif what == "echo" then
        return 200, headers, pieces(env.input:read(tonumber(env.CONTENT_LENGTH) or 0) or "")
    elseif what == "large" then
        return 200, headers, pieces(("0123456789abcdef"):rep(65536))
    elseif what == "missing" then
        return 404, headers, pieces("not here")
    elseif what == "moved" then
        headers.Location = "https://example.net/elsewhere"
        return 302, headers, pieces()
    elseif what == "log" then
        env.error:write("a line for the log\n")
        return 200, headers, pieces("logged")
    end
end

require("wsapi.fastcgi").run(answer)
