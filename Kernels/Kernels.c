// Embeds the .cl files of this folder, so that the tool is one file.
#include "Kernels.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const char declarations[] = {
#embed "declarations.cl"
    , 0};
const char *const sparrowKernelDeclarations = declarations;

static const char bodies[] = {
#embed "bodies.cl"
    , 0};
const char *const sparrowKernelBodies = bodies;

static const char activation[] = {
#embed "activation.cl"
    , 0};
const char *const sparrowKernelActivation = activation;

static const char adam[] = {
#embed "adam.cl"
    , 0};
const char *const sparrowKernelAdam = adam;

static const char optimizer[] = {
#embed "optimizer.cl"
    , 0};
const char *const sparrowKernelOptimizer = optimizer;

static const char gather[] = {
#embed "gather.cl"
    , 0};
const char *const sparrowKernelGather = gather;

static const char loss_row[] = {
#embed "loss_row.cl"
    , 0};
const char *const sparrowKernelLossRow = loss_row;

static const char loss[] = {
#embed "loss.cl"
    , 0};
const char *const sparrowKernelLoss = loss;

static const char columns[] = {
#embed "columns.cl"
    , 0};
const char *const sparrowKernelColumns = columns;

static const char tickets[] = {
#embed "tickets.cl"
    , 0};
const char *const sparrowKernelTickets = tickets;

static const char selection[] = {
#embed "select.cl"
    , 0};
const char *const sparrowKernelSelect = selection;

static const char sparse[] = {
#embed "sparse.cl"
    , 0};
const char *const sparrowKernelSparse = sparse;

static const char sparseLatents[] = {
#embed "sparse_latents.cl"
    , 0};
const char *const sparrowKernelSparseLatents = sparseLatents;

static const char sparseSums[] = {
#embed "sparse_sums.cl"
    , 0};
const char *const sparrowKernelSparseSums = sparseSums;

static const char matmul_block[] = {
#embed "matmul_block.cl"
    , 0};
const char *const sparrowKernelMatmulBlock = matmul_block;

static const char matmul_cpu[] = {
#embed "matmul_cpu.cl"
    , 0};
const char *const sparrowKernelMatmulCPU = matmul_cpu;

static const char dense_cpu[] = {
#embed "dense_cpu.cl"
    , 0};
const char *const sparrowKernelDenseCPU = dense_cpu;

static const char matmul_gpu[] = {
#embed "matmul_gpu.cl"
    , 0};
const char *const sparrowKernelMatmulGPU = matmul_gpu;

static const char peak[] = {
#embed "peak.cl"
    , 0};
const char *const sparrowKernelPeak = peak;

static const char balance[] = {
#embed "balance.cl"
    , 0};
const char *const sparrowKernelBalance = balance;

static const char codes[] = {
#embed "codes.cl"
    , 0};
const char *const sparrowKernelCodes = codes;

static const char gates[] = {
#embed "gates.cl"
    , 0};
const char *const sparrowKernelGates = gates;

static const char convolution_gpu[] = {
#embed "convolution_gpu.cl"
    , 0};
const char *const sparrowKernelConvolutionGPU = convolution_gpu;

static const char logarithm[] = {
#embed "logarithm.cl"
    , 0};
const char *const sparrowKernelLogarithm = logarithm;

static const char strips[] = {
#embed "strips.cl"
    , 0};
const char *const sparrowKernelStrips = strips;

static const char normalise[] = {
#embed "normalise.cl"
    , 0};
const char *const sparrowKernelNormalise = normalise;

static const char pool[] = {
#embed "pool.cl"
    , 0};
const char *const sparrowKernelPool = pool;

static const char segmentation[] = {
#embed "segmentation.cl"
    , 0};
const char *const sparrowKernelSegmentation = segmentation;

static const char convolution_cpu[] = {
#embed "convolution_cpu.cl"
    , 0};
const char *const sparrowKernelConvolutionCPU = convolution_cpu;

static const char winograd_cpu[] = {
#embed "winograd_cpu.cl"
    , 0};
const char *const sparrowKernelWinogradCPU = winograd_cpu;

static const char tile_gpu[] = {
#embed "tile_gpu.cl"
    , 0};
const char *const sparrowKernelTileGPU = tile_gpu;

static const char convolution_gradient_gpu[] = {
#embed "convolution_gradient_gpu.cl"
    , 0};
const char *const sparrowKernelConvolutionGradientGPU = convolution_gradient_gpu;

static const char convolution_parts_gpu[] = {
#embed "convolution_parts_gpu.cl"
    , 0};
const char *const sparrowKernelConvolutionPartsGPU = convolution_parts_gpu;
