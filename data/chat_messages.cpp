#include "data/chat_messages.h"

#include <fmt/format.h>

#include "core/narrow.h"
#include "data/png.h"

namespace saber {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTwoPhase =
    "Proceed in two steps. First recognise, from the instruction and the examples, which task they solve and how its "
    "answers are worded. Then solve the same task for the last picture. Write the answer alone.";

Json text_part(const std::string& text) {
  return {{"type", "text"}, {"text", text}};
}

// The row's picture, if it has one, and then its text.
void append_row(Json& parts, const EmbeddingSet& set, std::int64_t row, const std::string& text) {
  std::string url;
  if (!set.image_uri.empty()) {
    url = set.image_uri[to_index(row)];
  } else if (!set.pixels.empty()) {
    url = png_data_uri(set.pixels_of(row), set.pixel_height, set.pixel_width);
  }
  if (!url.empty()) parts.push_back({{"type", "image_url"}, {"image_url", {{"url", url}}}});
  parts.push_back(text_part(text));
}

Json message(const char* role, Json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

}  // namespace

Json chat_messages(const PromptStyle& style, const EmbeddingSet& queries, std::int64_t query_row,
                   const EmbeddingSet& library, std::span<const std::int64_t> shots) {
  const auto task = to_index(queries.task[to_index(query_row)]);
  Json parts = Json::array();  // of the user message that is being written
  parts.push_back(text_part(queries.tasks.instruction[task]));
  parts.push_back(text_part("The task: " + queries.tasks.short_instruction[task]));
  if (style.two_phase) parts.push_back(text_part(kTwoPhase));
  Json messages = Json::array();
  for (const std::int64_t row : shots) {
    const std::string& question = library.text_query[to_index(row)];
    const std::string& result = library.text_result[to_index(row)];
    if (style.multi_turn) {
      append_row(parts, library, row, question);
      messages.push_back(message("user", std::move(parts)));
      messages.push_back(message("assistant", result));
      parts = Json::array();
    } else {
      append_row(parts, library, row, fmt::format("Question: {}\nAnswer: {}", question, result));
    }
  }
  const std::string& question = queries.text_query[to_index(query_row)];
  append_row(parts, queries, query_row, style.multi_turn ? question : fmt::format("Question: {}\nAnswer:", question));
  messages.push_back(message("user", std::move(parts)));
  return messages;
}

}  // namespace saber
