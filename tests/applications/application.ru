# What tests/applications.rs asks of every runtime, by `do` of the query: Rack.
require 'digest'

NAMES = %w[REQUEST_METHOD QUERY_STRING SCRIPT_NAME PATH_INFO CONTENT_LENGTH HTTP_X_WORD].freeze

run(lambda do |env|
  headers = { 'X-Application' => 'rack', 'Content-Type' => 'text/plain' }
  case env['QUERY_STRING'][/\Ado=(\w+)/, 1]
  when 'params'
    [200, headers, NAMES.map { |name| "#{name}=#{env[name]}\n" }]
  when 'echo'
    body = env['rack.input'].read
    [200, headers.merge('X-Digest' => Digest::SHA256.hexdigest(body)), [body]]
  when 'large'
    [200, headers, ['0123456789abcdef' * 65_536]]
  when 'missing'
    [404, headers, ['not here']]
  when 'moved'
    [302, headers.merge('Location' => 'https://example.net/elsewhere'), []]
  end
end)
